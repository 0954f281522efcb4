#!/bin/sh
# Trains fan2023 and its three peers one after the other, each on the same pairs at 128 px, and
# measures all on people that none has seen. A step of g2gan, which draws each pair there and back
# again, costs about four of the others'; it gets a quarter of their steps. Run it at the root of
# the repository:
#
#     benchmarks/fan2023.sh [STEPS] [FOLDER]
#
# FOLDER (runs/fan2023_peers) receives each network's training, table.md, evaluation.json and
# sheet.png. A second call goes on where the first was ended.
set -eu
steps=${1:-2000}
folder=${2:-runs/fan2023_peers}
plugin=plugins/reenact_baselines
if ! reenact plugins | grep -q g2gan; then
    pip install --no-deps --quiet "./$plugin"
fi
mkdir -p "$folder"
renderers="--renderer copy --renderer warp --renderer warp_unet"
for name in fan2023 pix2pix cgan g2gan; do
    file=$plugin/$name.toml
    if [ "$name" = fan2023 ]; then
        file=configs/train/fan2023.toml
    fi
    resume=""
    if [ -f "$folder/$name/state.safetensors" ]; then
        resume=--resume
    fi
    own_steps=$steps
    if [ "$name" = g2gan ]; then
        own_steps=$((steps / 4))
    fi
    echo "$name: $own_steps steps"
    reenact train "$file" $resume --set "folder=$folder/$name" --set minutes=0 \
        --set "steps=$own_steps" --set validate_every=250 --set settings.size_px=128
    renderers="$renderers --renderer $name=$folder/$name/best.safetensors"
done
# shellcheck disable=SC2086
reenact evaluate $renderers --data ../shared/faces/val --size 128 \
    --json "$folder/evaluation.json" --sheet "$folder/sheet.png" > "$folder/table.md"
cat "$folder/table.md"

#!/bin/sh
# Trains fan2023 and its three peers one after the other, each for the same minutes at 128 px, and
# measures all on people that none has seen. Run it at the root of the repository:
#
#     benchmarks/fan2023.sh [MINUTES] [FOLDER]
#
# FOLDER (runs/fan2023_peers) receives each network's training, table.md, evaluation.json and
# sheet.png. A second call goes on where the first was ended.
set -eu
minutes=${1:-30}
folder=${2:-runs/fan2023_peers}
plugin=plugins/reenact_baselines
if ! reenact plugins | grep -q g2gan; then
    pip install --no-deps --quiet "./$plugin"
fi
mkdir -p "$folder"
renderers=""
for name in fan2023 pix2pix cgan g2gan; do
    file=$plugin/$name.toml
    if [ "$name" = fan2023 ]; then
        file=configs/train/fan2023.toml
    fi
    resume=""
    if [ -f "$folder/$name/state.safetensors" ]; then
        resume=--resume
    fi
    echo "$name: $minutes minutes"
    reenact train "$file" $resume --set "folder=$folder/$name" --set "minutes=$minutes" \
        --set validate_every=250 --set settings.size_px=128
    renderers="$renderers --renderer $name=$folder/$name/best.safetensors"
done
# shellcheck disable=SC2086
reenact evaluate $renderers --data ../shared/faces/val --size 128 \
    --json "$folder/evaluation.json" --sheet "$folder/sheet.png" > "$folder/table.md"
cat "$folder/table.md"

-- The OBS source "Reenact": shows what `reenact live --sink obs` writes into shared memory.
--
-- It needs no Python inside OBS and no other file. reenact/sinks/obs/ring.py, which writes the
-- memory, describes its layout and the rules by which a torn frame is never shown.
--
-- OBS calls the functions of a script's sources one at a time, so nothing here is locked.

local obs = obslua
local has_ffi, ffi = pcall(require, "ffi")

local VERSION = 1
local HEADER_BYTES = 4096
local MAX_SIDE_PX, MAX_SLOTS = 16384, 16
local MAX_ATTEMPTS = 3 -- to copy a frame that a fast writer overwrites meanwhile
local LOOK_AGAIN_S = 0.25 -- how often to look for a writer while no frames come
local QUIET_S = 1.0 -- without a frame for this long, the writer may have left its memory
local DEFAULT_NAME, DEFAULT_HOLD_S = "reenact", 5.0

if has_ffi then
  ffi.cdef [[
    typedef struct {
      char magic[8]; uint32_t version, writing; volatile uint32_t generation;
    } reenact_control;
    typedef struct { volatile uint64_t sequence, stamp_ns; } reenact_slot;
    typedef struct {
      char magic[8]; uint32_t version, slots, width, height, stride, reserved;
      uint64_t slot_bytes, total_bytes, unused_1[2];
      volatile uint64_t newest; uint64_t unused_2[7];
      reenact_slot slot[16];
    } reenact_ring;

    int open(const char *path, int flags, ...);
    int shm_open(const char *name, int flags, ...);
    int close(int file);
    int64_t lseek(int file, int64_t offset, int whence);
    void *mmap(void *address, size_t bytes, int protection, int flags, int file, int64_t offset);
    int munmap(void *address, size_t bytes);
    unsigned int geteuid(void);
    int pthread_mutex_init(void *mutex, const void *attributes);
    int pthread_mutex_lock(void *mutex);
    int pthread_mutex_unlock(void *mutex);

    void *OpenFileMappingA(uint32_t access, int inherit, const char *name);
    void *MapViewOfFile(void *mapping, uint32_t access, uint32_t high, uint32_t low, size_t bytes);
    int UnmapViewOfFile(const void *address);
    int CloseHandle(void *handle);
    void InitializeSRWLock(void *lock);
    void AcquireSRWLockExclusive(void *lock);
    void ReleaseSRWLockExclusive(void *lock);

    uint64_t os_gettime_ns(void);
    void obs_enter_graphics(void);
    void obs_leave_graphics(void);
    void *gs_texture_create(uint32_t width, uint32_t height, int format, uint32_t levels,
                            const uint8_t **data, uint32_t flags);
    void gs_texture_set_image(void *texture, const uint8_t *data, uint32_t stride, bool flip);
    void gs_texture_destroy(void *texture);
    void obs_source_draw(void *texture, int x, int y, uint32_t width, uint32_t height, bool flip);
  ]]
end

-- Read-only shared memory and a full memory barrier, by each system's own calls ------------------

local C, libobs, map, unmap, barrier

local function load_windows()
  -- This finds obs.dll, which is loaded already, by its name.
  C, libobs = ffi.load("kernel32"), ffi.load("obs")
  local FILE_MAP_READ = 4

  function map(name, bytes)
    local mapping = C.OpenFileMappingA(FILE_MAP_READ, 0, "Local\\reenact." .. name)
    if mapping == nil then return nil end
    local address = C.MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, bytes)
    C.CloseHandle(mapping) -- the view keeps the memory
    if address == nil then return nil end
    return { address = address, bytes = bytes }
  end

  function unmap(view) C.UnmapViewOfFile(view.address) end

  local lock = ffi.new("uint64_t[4]")
  C.InitializeSRWLock(lock)
  C.AcquireSRWLockExclusive(lock)
  function barrier()
    C.ReleaseSRWLockExclusive(lock)
    C.AcquireSRWLockExclusive(lock)
  end
end

local function load_posix()
  -- OBS is linked against libobs, so its functions are among the program's own.
  C, libobs = ffi.C, ffi.C
  local SEEK_END, PROT_READ, MAP_SHARED, O_RDONLY = 2, 1, 1, 0
  local is_mac = ffi.os == "OSX"

  function map(name, bytes)
    local file
    if is_mac then
      file = C.shm_open("/reenact." .. name, O_RDONLY)
    else
      file = C.open(string.format("/dev/shm/reenact.%d.%s", C.geteuid(), name), O_RDONLY)
    end
    if file < 0 then return nil end
    -- On Linux, touching memory beyond the end of the file would end OBS.
    local whole = is_mac or C.lseek(file, 0, SEEK_END) >= bytes
    local address = whole and C.mmap(nil, bytes, PROT_READ, MAP_SHARED, file, 0)
    C.close(file)
    if not whole or ffi.cast("intptr_t", address) == -1 then return nil end
    return { address = address, bytes = bytes }
  end

  function unmap(view) C.munmap(view.address, view.bytes) end

  local mutex = ffi.new("uint64_t[16]") -- more than a pthread_mutex_t takes anywhere
  C.pthread_mutex_init(mutex, nil)
  C.pthread_mutex_lock(mutex)
  function barrier()
    C.pthread_mutex_unlock(mutex)
    C.pthread_mutex_lock(mutex)
  end
end

if has_ffi then
  if ffi.os == "Windows" then load_windows() else load_posix() end
end

local function has_magic(memory, magic)
  return ffi.string(memory.magic, 8) == magic and memory.version == VERSION
end

-- The ring ---------------------------------------------------------------------------------------

local function release_control(data)
  if data.control_view then unmap(data.control_view) end
  data.control_view, data.control = nil, nil
end

local function release_ring(data)
  if data.ring_view then unmap(data.ring_view) end
  data.ring_view, data.ring = nil, nil
end

local function find_control(data)
  local view = map(data.name, HEADER_BYTES)
  if not view then return end
  local control = ffi.cast("reenact_control *", view.address)
  if not has_magic(control, "REENACTC") then
    unmap(view)
    return
  end
  release_control(data)
  data.control_view, data.control = view, control
end

local function is_valid(ring)
  return has_magic(ring, "REENACTD")
    and ring.width >= 1 and ring.width <= MAX_SIDE_PX
    and ring.height >= 1 and ring.height <= MAX_SIDE_PX
    and ring.slots >= 2 and ring.slots <= MAX_SLOTS
    and ring.stride >= 4 * ring.width
    and ring.slot_bytes >= ffi.cast("uint64_t", ring.stride) * ring.height
    and ring.total_bytes >= HEADER_BYTES + ring.slots * ring.slot_bytes
end

-- Map the frames of another generation. A writer creates one when it starts and when the size
-- changes, and announces it after its first frame.
local function attach(data, generation)
  local name = string.format("%s.%08x", data.name, generation)
  local head = map(name, HEADER_BYTES)
  if not head then return end
  local ring = ffi.cast("reenact_ring *", head.address)
  local bytes = is_valid(ring) and tonumber(ring.total_bytes)
  unmap(head)
  local view = bytes and map(name, bytes)
  if not view then return end
  release_ring(data)
  data.ring_view, data.ring = view, ffi.cast("reenact_ring *", view.address)
  data.generation = generation
  data.width, data.height = data.ring.width, data.ring.height
  data.seen = tonumber(data.ring.newest)
  data.shown = 0
  local stamp_ns = data.ring.slot[data.seen % data.ring.slots].stamp_ns
  data.idle_s = math.max(0, tonumber(ffi.cast("int64_t", libobs.os_gettime_ns() - stamp_ns)) / 1e9)
end

local function look(data)
  if not data.control or data.idle_s > QUIET_S then
    if data.until_look_s > 0 then return end
    data.until_look_s = LOOK_AGAIN_S
    find_control(data)
  end
  if not data.control then return end
  local generation = data.control.generation
  if generation ~= 0 and generation ~= data.generation then attach(data, generation) end
end

-- Pictures, only inside OBS's graphics context ---------------------------------------------------

local living, spare = 0, {} -- number of sources; textures of destroyed ones

local function destroy_spare()
  for number = #spare, 1, -1 do
    libobs.gs_texture_destroy(spare[number])
    spare[number] = nil
  end
end

local function fit(texture, width, height)
  if texture and texture.width == width and texture.height == height then return texture end
  if texture then libobs.gs_texture_destroy(texture.handle) end
  local handle = libobs.gs_texture_create(width, height, obs.GS_BGRA, 1, nil, obs.GS_DYNAMIC)
  return handle ~= nil and { handle = handle, width = width, height = height } or nil
end

-- Bring the newest frame to the front if it is new. It is copied into the texture that is not shown;
-- the two are swapped only if its slot still holds the same frame afterwards.
local function take_newest(data)
  local ring = data.ring
  for _ = 1, MAX_ATTEMPTS do
    local newest = ring.newest
    local number = tonumber(newest)
    if number == data.shown then return end
    local index = number % ring.slots
    local slot = ring.slot[index]
    if slot.sequence == newest then
      data.back = fit(data.back, ring.width, ring.height)
      if not data.back then return end
      local offset = HEADER_BYTES + index * tonumber(ring.slot_bytes)
      local pixels = ffi.cast("const uint8_t *", data.ring_view.address) + offset
      barrier()
      libobs.gs_texture_set_image(data.back.handle, pixels, ring.stride, false)
      barrier()
      if slot.sequence == newest then
        data.front, data.back = data.back, data.front
        data.shown = number
        return
      end
    end
  end
end

-- The source ---------------------------------------------------------------------------------------

local source = {
  id = "reenact",
  type = obs.OBS_SOURCE_TYPE_INPUT,
  output_flags = obs.OBS_SOURCE_VIDEO,
}

function source.get_name() return "Reenact" end

function source.get_defaults(settings)
  obs.obs_data_set_default_string(settings, "name", DEFAULT_NAME)
  obs.obs_data_set_default_double(settings, "hold_s", DEFAULT_HOLD_S)
end

function source.get_properties()
  local properties = obs.obs_properties_create()
  obs.obs_properties_add_text(properties, "name", "Name, as in --sink obs:NAME", obs.OBS_TEXT_DEFAULT)
  local hold = obs.obs_properties_add_float(
    properties, "hold_s", "Keep the last picture for", 0, 86400, 0.5)
  obs.obs_property_float_set_suffix(hold, " s")
  return properties
end

function source.update(data, settings)
  data.hold_s = obs.obs_data_get_double(settings, "hold_s")
  local name = obs.obs_data_get_string(settings, "name"):gsub("[^%w_-]", ""):sub(1, 12)
  if name == data.name then return end
  data.name = name
  release_ring(data)
  release_control(data)
  data.generation, data.idle_s, data.until_look_s = 0, math.huge, 0
end

function source.create(settings)
  living = living + 1
  local data = { width = 0, height = 0, seen = 0, shown = 0, generation = 0 }
  source.update(data, settings)
  look(data)
  return data
end

-- Entering the graphics context here could hang OBS: the thread inside it may be waiting to draw
-- another source of this script, which waits for this function to end.
function source.destroy(data)
  living = living - 1
  for _, texture in ipairs({ "front", "back" }) do
    if data[texture] then table.insert(spare, data[texture].handle) end
    data[texture] = nil
  end
  release_ring(data)
  release_control(data)
end

function source.get_width(data) return data.width end

function source.get_height(data) return data.height end

function source.video_tick(data, seconds)
  data.idle_s = data.idle_s + seconds
  data.until_look_s = data.until_look_s - seconds
  look(data)
  if not data.ring then return end
  local newest = tonumber(data.ring.newest)
  if newest ~= data.seen then
    data.seen, data.idle_s = newest, 0
  end
end

function source.video_render(data)
  destroy_spare()
  if data.idle_s > data.hold_s then return end
  if data.ring then take_newest(data) end
  if data.front then libobs.obs_source_draw(data.front.handle, 0, 0, 0, 0, false) end
end

if has_ffi then obs.obs_register_source(source) end

function script_unload()
  if living > 0 or #spare == 0 then return end
  libobs.obs_enter_graphics()
  destroy_spare()
  libobs.obs_leave_graphics()
end

function script_description()
  if not has_ffi then
    return "This OBS has no LuaJIT, which the source Reenact needs; use the OBS of obsproject.com."
  end
  return "Adds the source Reenact, which shows `reenact live --sink obs`."
end

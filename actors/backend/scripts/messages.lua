-- What a queue holds, oldest first, without taking anything: at most a thousand of each kind and some megabytes.
local queue, proc, dead = unpack(KEYS)
local budget = 16 * MAX_MESSAGE_BYTES
local found = {}

local function add(state, bytes, token, tries)
  -- What names it for mend.lua; what is in flight is its reader's.
  local entry = state == 'delivered' and '' or redis.sha1hex(bytes)
  if #bytes > 2 * MAX_MESSAGE_BYTES then
    bytes = string.sub(bytes, 1, 1024)
  end
  budget = budget - #bytes
  found[#found + 1] = {state, bytes, token, tries, entry}
end

local function add_all(list, state)
  for from = 0, 980, 20 do
    local chunk = redis.call('LRANGE', list, from, from + 19)
    for at = 1, #chunk do
      if budget < 0 then
        return
      end
      add(state, chunk[at], '', 0)
    end
    if #chunk < 20 then
      return
    end
  end
end

add_all(dead, 'dead')
local token, raw, tries = unpack(redis.call('HMGET', proc, 'token', 'raw', 'tries'))
if token and raw then
  add('delivered', raw, token, tonumber(tries) or 0)
end
add_all(queue, 'stored')
return found

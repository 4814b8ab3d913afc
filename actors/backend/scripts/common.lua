-- Stands before every other script, and after the limits of wire.py (written in capitals).
-- Each script gets all its keys in KEYS, and can be repeated without harm.
-- With maxmemory reached Redis refuses what may grow, unless the script has written before: so everything here
-- frees before it adds, and claims and acknowledgements go on.

-- Redis before 7 sends a script's text to its replicas unless it is told to send what it did; a text that reads
-- the clock would do something else there.
if redis.replicate_commands then
  redis.replicate_commands()
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns a message's own id; false when it has none; nil when that is better left to the caller: JSON decoders
-- differ in numbers, in escapes and in what they refuse.
local function own_id(raw)
  if #raw > 65536 then
    return nil
  end
  local ok, fields = pcall(cjson.decode, raw)
  if not ok or type(fields) ~= 'table' then
    return nil
  end
  local id = fields.id
  if type(id) == 'number' then
    return nil
  end
  if type(id) ~= 'string' or id == '' then
    return false
  end
  if #id > MAX_ID_CHARS or string.find(id, '[^ -~]') then
    return nil
  end
  return id
end

-- A dead letter is a line of JSON that says why, then the message's bytes as they came.
local function bury(dead, raw, letter)
  letter.v = VERSION
  letter.at_ms = now_ms()
  redis.call('RPUSH', dead, cjson.encode(letter) .. '\n' .. raw)
  redis.call('LTRIM', dead, -DEAD_LIMIT, -1)
  redis.call('EXPIRE', dead, DEAD_TTL_S)
end


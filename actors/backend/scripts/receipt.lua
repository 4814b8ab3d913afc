-- How far has a message come? Looks at the newest of a long queue only: its sender asks again and again.
local queue, proc, done, dead = unpack(KEYS)
local id = ARGV[1]
local budget = 8 * MAX_MESSAGE_BYTES

if redis.call('ZSCORE', done, id) then
  return 'handled'
end

-- Bytes that stand in JSON as they are: their absence settles it without decoding.
local unescaped = not string.find(id, '[^%w._:-]')
local function is_it(raw)
  if (unescaped and not string.find(raw, id, 1, true)) or #raw > MAX_MESSAGE_BYTES then
    return false
  end
  local ok, fields = pcall(cjson.decode, raw)
  return ok and type(fields) == 'table' and tostring(fields.id) == id
end

local token, raw = unpack(redis.call('HMGET', proc, 'token', 'raw'))
if token and raw and (token == id or is_it(raw)) then
  return 'delivered'
end

-- Returns whether it is among the newest elements of a list.
local function holds(list, newest, find)
  for from = 1, newest, 20 do
    local chunk = redis.call('LRANGE', list, -from - 19, -from)
    for at = #chunk, 1, -1 do
      budget = budget - #chunk[at]
      if find(chunk[at]) then
        return true
      end
    end
    if #chunk < 20 or budget < 0 then
      return false
    end
  end
  return false
end

if holds(queue, 1000, is_it) then
  return 'stored'
end
local function is_its_letter(text)
  local line = string.find(text, '\n', 1, true)
  local ok, letter = pcall(cjson.decode, string.sub(text, 1, (line or 1) - 1))
  if not ok or type(letter) ~= 'table' or letter.malformed then
    return false
  end
  return letter.name == id or is_it(string.sub(text, line + 1))
end
if holds(dead, DEAD_LIMIT, is_its_letter) then
  return 'dead'
end
return 'unknown'

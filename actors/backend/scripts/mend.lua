-- Put a dead letter back into its queue, or drop a message that waits or was given up.
-- ARGV: the SHA-1 of the entry; the message to put back, or '' to drop the entry.
-- It is looked for where messages.lua looks.
local queue, dead = unpack(KEYS)
local entry, raw = ARGV[1], ARGV[2]

local function find(list)
  for from = 0, 980, 20 do
    local chunk = redis.call('LRANGE', list, from, from + 19)
    for at = 1, #chunk do
      if redis.sha1hex(chunk[at]) == entry then
        return chunk[at]
      end
    end
    if #chunk < 20 then
      return nil
    end
  end
end

local letter = find(dead)
if letter and raw ~= '' then
  redis.call('LLEN', queue) -- fails while nothing is lost yet, if it is no list
  redis.call('LREM', dead, 1, letter)
  redis.call('RPUSH', queue, raw)
  redis.call('EXPIRE', queue, ADMIN_TTL_S)
  return 1
end
if raw ~= '' then
  return 0
end
if letter then
  return redis.call('LREM', dead, 1, letter)
end
local message = find(queue)
return message and redis.call('LREM', queue, 1, message) or 0

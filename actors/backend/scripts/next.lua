-- Acknowledge the message in flight and claim the next one.
-- It has committed before anybody sees the message: a lost reply, a kill or a takeover finds it in proc.
local queue, proc, done, dead, owner = unpack(KEYS)
local instance, attempt, done_token, done_id, take = unpack(ARGV)

if redis.call('HGET', owner, 'instance') ~= instance then
  return {'lost'}
end

if done_token ~= '' then
  local now = now_ms()
  redis.call('ZREMRANGEBYSCORE', done, '-inf', now - DONE_TTL_S * 1000)
  if redis.call('HGET', proc, 'token') == done_token then
    redis.call('DEL', proc)
  end
  redis.call('ZADD', done, now, done_id)
  redis.call('EXPIRE', done, DONE_TTL_S)
end
if take == '0' then
  return {'none'}
end

local token, raw, tries, reader = unpack(redis.call('HMGET', proc, 'token', 'raw', 'tries', 'attempt'))
if token and raw and reader ~= attempt then
  tries = tonumber(tries) or MAX_TRIES
  if tries < MAX_TRIES then
    tries = tries + 1
    redis.call('HDEL', proc, 'attempt')
    redis.call('HSET', proc, 'tries', tries, 'attempt', attempt)
  else
    redis.call('LLEN', dead) -- fails while nothing is lost yet, if it is no list
    redis.call('DEL', proc)
    bury(dead, raw, {reason = 'not handled in ' .. tries .. ' tries', tries = tries, name = token})
    token = false
  end
end

if not (token and raw) then
  local skipped = 0
  raw = redis.call('LPOP', queue)
  while raw and #raw > MAX_MESSAGE_BYTES do
    -- Far too large for anybody to have meant it: a list's element cannot be larger than 512 MiB with its letter.
    local letter = {reason = #raw .. ' bytes, more than ' .. MAX_MESSAGE_BYTES, tries = 0, size = #raw}
    local ok, problem = pcall(bury, dead, string.sub(raw, 1, 16 * MAX_MESSAGE_BYTES), letter)
    if not ok then
      redis.call('LPUSH', queue, raw)
      redis.call('EXPIRE', queue, ADMIN_TTL_S)
      error(problem)
    end
    skipped = skipped + 1
    if skipped == 8 then
      return {'again'} -- others wait for the server, too
    end
    raw = redis.call('LPOP', queue)
  end
  if not raw then
    return {'none'}
  end
  -- Two claims of one queue never share a microsecond, as the first is acknowledged in between; two queues differ
  -- in the hash.
  local time = redis.call('TIME')
  local salt = redis.sha1hex(table.concat({queue, instance, attempt}, '\n'))
  token = string.format('%s.%06d-%s', time[1], time[2], string.sub(salt, 1, 12))
  tries = 1
  redis.call('DEL', proc)
  redis.call('HSET', proc, 'token', token, 'raw', raw, 'tries', tries, 'attempt', attempt)
end
redis.call('EXPIRE', proc, PROC_TTL_S)
redis.call('EXPIRE', queue, ADMIN_TTL_S)

local id = own_id(raw)
local handled = '?'
if id == false then
  handled = '0'
elseif id then
  handled = redis.call('ZSCORE', done, id) and '1' or '0'
end
return {'claim', token, raw, tonumber(tries), handled}

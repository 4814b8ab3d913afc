-- Give a lease up, unless somebody else has it by now.
if redis.call('HGET', KEYS[1], 'instance') == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 'ok'

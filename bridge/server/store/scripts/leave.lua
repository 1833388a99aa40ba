local machine, inst = ARGV[2], ARGV[3]
if redis.call('HGET', p .. 'm:' .. machine, 'inst') == inst then
  redis.call('ZREM', p .. 'ms', machine)
  redis.call('DEL', p .. 'm:' .. machine)
end
drop_calls(inst)
return {}

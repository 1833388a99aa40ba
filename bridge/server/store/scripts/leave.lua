local machine, inst = ARGV[2], ARGV[3]
if call('HGET', p .. 'm:' .. machine, 'inst') == inst then
  call('ZREM', p .. 'ms', machine)
  call('DEL', p .. 'm:' .. machine)
end
drop_calls(inst)
return {}

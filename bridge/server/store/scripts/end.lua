-- ARGV[14]: '1' keeps what was said. Whatever is refused by a full server comes before what is taken away.
local found = fence(ARGV[15] == '1')
if found ~= 'OK' and found ~= 'RESTORED' then return written(found, c.owner or '', stored, ARGV[13]) end
write_turn()
drop_call(inst, sid, c.groups or '')
if ARGV[14] ~= '1' then call('DEL', p .. 't:' .. sid) end
return written(found, machine, epoch, ARGV[13])

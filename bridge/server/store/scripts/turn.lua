local found = fence(ARGV[15] == '1')
if found ~= 'OK' and found ~= 'RESTORED' then return written(found, c.owner or '', stored, ARGV[13]) end
write_turn()
return written(found, machine, epoch, ARGV[13])

local found = fence(true)
if found == 'OK' or found == 'RESTORED' then return written(found, machine, epoch, '') end
return written(found, c.owner or '', stored, '')

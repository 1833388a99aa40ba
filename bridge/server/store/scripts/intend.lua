-- KEYS: call. ARGV: intent, epoch or '', returns.
local c = call('HMGET', KEYS[1], 'epoch', 'owner', 'returns')
local epoch = number(c[1])
if ARGV[3] ~= '' and epoch > tonumber(ARGV[3]) then return {'GHOST', text(epoch), c[2] or '', '0'} end
call('HSET', KEYS[1], 'intent', ARGV[2], 'at', text(now),
  'returns', text(math.max(number(c[3]), tonumber(ARGV[4]))))
keep(KEYS[1], ARGV[2])
return {'OK', text(epoch), c[2] or '', '0'}

-- KEYS: call. ARGV: intent, epoch or '', returns.
local c = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'returns')
local epoch = tonumber(c[1] or '0')
if ARGV[3] ~= '' and epoch > tonumber(ARGV[3]) then return {'GHOST', text(epoch), c[2] or '', '0'} end
redis.call('HSET', KEYS[1], 'intent', ARGV[2], 'at', text(now),
  'returns', text(math.max(tonumber(c[3] or '0'), tonumber(ARGV[4]))))
keep(KEYS[1], ARGV[2])
return {'OK', text(epoch), c[2] or '', '0'}

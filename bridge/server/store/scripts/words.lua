-- What was said in calls of the process ARGV[2]: from ARGV[3] on four for each, its sid, epoch, seq and text.
-- Returns those of which nothing was written.
local left = {}
for at = 3, #ARGV, 4 do
  local sid, key = ARGV[at], p .. 'c:' .. ARGV[at]
  local c = fields(key)
  if number(c.epoch) == tonumber(ARGV[at + 1]) and c.inst == ARGV[2] and number(c.seq) < tonumber(ARGV[at + 2]) then
    call('HSET', key, 'seq', ARGV[at + 2], 'at', text(now))
    keep(key, c.intent or '')
    call('SET', p .. 't:' .. sid, ARGV[at + 3], 'PX', CONVERSATION_KEPT_MS)
  else
    left[#left + 1] = sid
  end
end
return left

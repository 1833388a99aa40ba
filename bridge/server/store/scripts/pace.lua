-- KEYS: slots. ARGV: interval, burst. The generic cell rate algorithm: when the next slot of the even row is taken.
local interval, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local taken = math.max(number(call('GET', KEYS[1])), now)
local wait = math.max(0, taken - now - (burst - 1) * interval)
if wait == 0 then
  call('SET', KEYS[1], text(taken + interval), 'PX', text(taken + interval - now + 1000))
end
return text(wait)

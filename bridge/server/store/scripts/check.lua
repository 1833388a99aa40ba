-- KEYS: calls. ARGV: inst, and the epoch of each. Returns the places of those that are lost.
local lost = {}
for at, key in ipairs(KEYS) do
  local c = call('HMGET', key, 'epoch', 'inst')
  local epoch, mine = number(c[1]), tonumber(ARGV[2 + at])
  if epoch > mine or (epoch == mine and c[2] ~= ARGV[2]) then lost[#lost + 1] = at end
end
return lost

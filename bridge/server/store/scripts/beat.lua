-- ARGV: machine, inst, lease, day, then 1 where calls follow, six fields of its status, and calls with groups.
local machine, inst, lease, day, calls = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1'
local key = p .. 'm:' .. machine
local held, holder = lives(machine), call('HGET', key, 'inst')
if held and holder ~= inst then return {'TAKEN', holder or '', '0', '0', '0', '0', text(now), {}} end
call('HSET', key, 'inst', inst, 'calls', ARGV[7], 'capacity', ARGV[8], 'draining', ARGV[9], 'version', ARGV[10],
  'config', ARGV[11], 'address', ARGV[12])
call('PEXPIRE', key, lease + MACHINE_KEPT_MS)
call('ZADD', p .. 'ms', text(now + lease), machine)
call('ZREMRANGEBYSCORE', p .. 'ms', '-inf', text(now - MACHINE_KEPT_MS))
call('PEXPIRE', calls_of(inst, ''), CALL_KEPT_MS)
if calls then
  drop_calls(inst)
  for at = 13, #ARGV, 2 do add_call(inst, ARGV[at], ARGV[at + 1]) end
end
local machines, fleet_calls = {}, 0
for _, one in ipairs(live_machines()) do
  local seen = shown(one)
  machines[#machines + 1] = seen
  fleet_calls = fleet_calls + call('SCARD', calls_of(seen[2], ''))
end
return {
  held and 'OK' or 'NEW', '', text(call('SCARD', calls_of(inst, ''))), text(fleet_calls), text(total(day, '')),
  text(call('EXISTS', p .. 'con')), text(now), machines
}

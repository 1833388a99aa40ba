-- What the scripts share; it stands before each of them. ARGV[1] is the prefix of every key, with its hash tag, so
-- that all of them are in one slot. KEYS names the key that a script is about; those of other machines follow from it.
local p = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Lua writes a number with 14 digits, and milliseconds have 13, micro-dollars more.
local function text(number) return string.format('%.0f', number) end

-- A number of a field, 0 where it is absent or is none: anything may stand there that was put by hand.
local function number(value)
  local found = tonumber(value or '0')
  return found and found >= 0 and found <= 2 ^ 53 and math.floor(found) or 0
end

-- What is of another kind than ours is taken away: one key must not keep the others from their calls.
local function call(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) ~= 'table' or not found.err then return found end
  if string.find(found.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
  return redis.call(command, key, ...)
end

local function fields(key)
  local flat, found = call('HGETALL', key), {}
  for at = 1, #flat, 2 do found[flat[at]] = flat[at + 1] end
  return found
end

local function lives(machine)
  return number(call('ZSCORE', p .. 'ms', machine)) > now
end

local function live_machines() return call('ZRANGEBYSCORE', p .. 'ms', '(' .. text(now), '+inf') end

-- The calls of a process, all or those of a group. By inst: those of a process that has gone count for nobody.
local function calls_of(inst, group) return p .. (group == '' and 'l:' or 'lt:' .. group .. ':') .. inst end

local function count(group)
  local calls = 0
  for _, machine in ipairs(live_machines()) do
    local inst = call('HGET', p .. 'm:' .. machine, 'inst')
    if inst then calls = calls + call('SCARD', calls_of(inst, group)) end
  end
  return calls
end

local function usd(day, group) return p .. 'usd:' .. day .. (group == '' and '' or ':' .. group) end

local function total(day, group)
  local micro_usd = 0
  if day ~= '' then
    for _, one in ipairs(call('HVALS', usd(day, group))) do micro_usd = micro_usd + number(one) end
  end
  return micro_usd
end

local function is_over(intent) return intent == 'ended' or string.sub(intent, 1, 9) == 'transfer:' end

local function keep(key, intent)
  call('PEXPIRE', key, intent == 'ended' and ENDED_KEPT_MS or CALL_KEPT_MS)
end

local function add_call(inst, sid, groups)
  call('SADD', calls_of(inst, ''), sid)
  call('PEXPIRE', calls_of(inst, ''), CALL_KEPT_MS)
  for group in string.gmatch(groups, '%S+') do
    call('SADD', calls_of(inst, group), sid)
    call('PEXPIRE', calls_of(inst, group), CALL_KEPT_MS)
    call('SADD', p .. 'lg:' .. inst, group)
    call('PEXPIRE', p .. 'lg:' .. inst, CALL_KEPT_MS)
  end
end

local function drop_call(inst, sid, groups)
  call('SREM', calls_of(inst, ''), sid)
  for group in string.gmatch(groups, '%S+') do call('SREM', calls_of(inst, group), sid) end
end

local function drop_calls(inst)
  for _, group in ipairs(call('SMEMBERS', p .. 'lg:' .. inst)) do
    call('DEL', calls_of(inst, group))
  end
  call('DEL', calls_of(inst, ''), p .. 'lg:' .. inst)
end

local function shown(machine)
  local m = fields(p .. 'm:' .. machine)
  local until_ms = number(call('ZSCORE', p .. 'ms', machine))
  return {
    machine, m.inst or '', text(number(m.calls)), text(number(m.capacity)), m.draining or '', m.version or '', m.config or '',
    m.address or '', text(until_ms - now)
  }
end

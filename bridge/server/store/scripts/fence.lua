-- The owner's fence, before each of its writes: ARGV[2..10] are its view of the call.
local key, c = KEYS[1], fields(KEYS[1])
local sid, machine, inst, epoch, seq, intent = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local stored, held = number(c.epoch), c.inst or ''

local function written(fence, owner, now_epoch, day)
  return {fence, text(now_epoch), owner, text(total(day, ''))}
end

-- What is found, and then the owner's view in the place of what is stored. `noted`: the intent is new.
local function fence(noted)
  if stored > epoch or (stored == epoch and held ~= inst) then return 'GHOST' end
  if stored == epoch then
    if number(c.seq) >= seq then return 'STALE' end
    call('HSET', key, 'seq', text(seq), 'at', text(now))
    if noted then
      c.intent = intent
      call('HSET', key, 'intent', intent)
    end
    keep(key, c.intent or '')
    return 'OK'
  end
  local streams = math.max(number(c.streams), tonumber(ARGV[10]))
  call('HSET', key, 'owner', machine, 'inst', inst, 'epoch', text(epoch), 'seq', text(seq), 'intent', intent,
    'nonce', ARGV[8], 'acct', ARGV[9], 'streams', text(streams), 'groups', ARGV[11], 'at', text(now))
  c.groups = ARGV[11]
  keep(key, intent)
  return 'RESTORED'
end

-- ARGV[12] is what was said ('' for no change), ARGV[13] the day, from ARGV[16] on groups and what was spent.
local function write_turn()
  if ARGV[12] ~= '' then call('SET', p .. 't:' .. sid, ARGV[12], 'PX', CONVERSATION_KEPT_MS) end
  if ARGV[13] == '' then return end
  for at = 16, #ARGV, 2 do
    local day = usd(ARGV[13], ARGV[at])
    -- A late write of another call may know less.
    local known = call('HGET', day, inst)
    if not known or tonumber(ARGV[at + 1]) > number(known) then
      call('HSET', day, inst, ARGV[at + 1])
      call('PEXPIRE', day, DAY_KEPT_MS)
    end
  end
end

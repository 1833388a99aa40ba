-- KEYS: call, warm, redeemed. ARGV: sid, machine, inst, nonce, account, stream, day, groups, and limits: group, most
-- calls, most micro-dollars, '' for none.
local sid, machine, inst, nonce, acct, day = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[8]
local c, w = fields(KEYS[1]), fields(KEYS[2])
local epoch, intent = number(c.epoch), c.intent or ''

local function answer(found, more)
  more = more or {}
  return {found, text(more.epoch or 0), more.owner or '', more.intent or '', more.group or '', w.m or '', w.inst or ''}
end

if not lives(machine) or call('HGET', p .. 'm:' .. machine, 'inst') ~= inst then return answer('NOLEASE') end
if is_over(intent) then return answer('OVER', {intent = intent}) end
local redeemed = call('GET', KEYS[3])
if redeemed then
  local mine = redeemed == inst .. ' ' .. sid and c.inst == inst and c.nonce == nonce
  return mine and answer('MINE', {epoch = epoch}) or answer('USED')
end
local account = w.nonce and w.acct or c.acct or ''
if account ~= '' and account ~= acct then return answer('ACCT') end
if epoch == 0 then
  for at = 10, #ARGV, 3 do
    local group, most_calls, most_usd = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    if most_calls and count(group) >= most_calls then return answer('FULL', {group = group}) end
    if most_usd and total(day, group) >= most_usd then return answer('MONEY', {group = group}) end
  end
end
local owner, before = c.owner or '', c.inst or ''
local took = epoch > 0 and before ~= inst
epoch = math.max(epoch + 1, now)
call('HSET', KEYS[1], 'owner', machine, 'inst', inst, 'epoch', text(epoch), 'seq', '0', 'intent', '', 'waits', '0',
  'nonce', nonce, 'acct', acct ~= '' and acct or c.acct or '', 'groups', ARGV[9],
  'streams', text(math.max(number(c.streams), tonumber(ARGV[7]))), 'at', text(now))
keep(KEYS[1], '')
call('SET', KEYS[3], inst .. ' ' .. sid, 'PX', REDEEMED_KEPT_MS)
if before ~= '' then drop_call(before, sid, c.groups or '') end
add_call(inst, sid, ARGV[9])
return answer(took and 'TOOK' or 'OK', {epoch = epoch, owner = took and owner or ''})

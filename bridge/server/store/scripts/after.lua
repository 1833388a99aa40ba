-- KEYS: call, warm. ARGV: machine, inst, nonce, fresh, account, '1' for draining.
local machine, inst, nonce, fresh, acct, draining = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7] == '1'
local c, w = fields(KEYS[1]), fields(KEYS[2])
local epoch, intent = text(number(c.epoch)), c.intent or ''

if ((c.nonce or '') ~= '' and c.nonce ~= nonce) or ((c.acct or '') ~= '' and c.acct ~= acct) then
  return {'OLD', '', '0', '0', '', '', epoch, c.owner or ''}
end
local recent = {}
for at in string.gmatch(c.resumed or '', '%S+') do
  if number(at) > now - RESUME_WINDOW_MS then recent[#recent + 1] = text(number(at)) end
end
local resumes = #recent
local again = c.answered == nonce
local waits = number(c.waits) + (draining and 1 or 0)
local given, dials = '', ''
call('HSET', KEYS[1], 'nonce', nonce, 'acct', acct, 'waits', text(waits), 'at', text(now))
if not is_over(intent) and (again or not draining) then
  given = again and c.given or fresh
  -- The machine that was asked first dials, while it lives.
  if w.nonce == given and w.m ~= machine and lives(w.m) then
    dials = w.m
  elseif not draining then
    dials = machine
    call('HSET', KEYS[2], 'm', machine, 'inst', inst, 'nonce', given, 'acct', acct)
    call('PEXPIRE', KEYS[2], RING_KEPT_MS)
  end
  if not again then
    if intent == '' or intent == 'handover' then recent[#recent + 1] = text(now) end
    call('HSET', KEYS[1], 'answered', nonce, 'given', fresh, 'resumed', table.concat(recent, ' '))
  end
end
keep(KEYS[1], intent)
return {again and 'AGAIN' or 'OK', intent, text(resumes), text(waits), given, dials, epoch, c.owner or ''}

-- KEYS: call, warm. ARGV: machine, inst, nonce, account.
local machine, inst, nonce, acct = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local c, w = call('HMGET', KEYS[1], 'intent', 'epoch'), fields(KEYS[2])
if c[1] == 'ended' then return {'ENDED', '', ''} end
if number(c[2]) > 0 or (w.nonce and w.acct ~= acct) then return {'SPENT', '', ''} end
if w.m == machine and w.inst == inst then return {'MINE', w.nonce, machine} end
if w.nonce and w.m ~= machine and lives(w.m) then return {'ELSEWHERE', w.nonce, w.m} end
nonce = w.nonce or nonce
call('HSET', KEYS[2], 'm', machine, 'inst', inst, 'nonce', nonce, 'acct', acct)
call('PEXPIRE', KEYS[2], RING_KEPT_MS)
return {'OK', nonce, machine}

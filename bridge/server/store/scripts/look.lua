-- KEYS: call, conversation.
local c = fields(KEYS[1])
return {
  c.at or '', c.intent or '', c.streams or '0', c.resumed or '', c.waits or '0', c.returns or '0', c.owner or '',
  c.epoch or '0', redis.call('GET', KEYS[2])
}

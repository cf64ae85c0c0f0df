import { script } from './scripts.js';

/**
 * Where a log ends. It has all its records, so the first one has its epoch, and their number is the offset of the last. To read the last one instead would
 * copy it with every append, and it may be large.
 */
const END = `
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local epoch, offset = '', 0
if first then
  epoch = string.match(first[1], '%d+')
  offset = redis.call('XLEN', KEYS[1])
end
local function id(number) return epoch .. '-' .. string.format('%.0f', number) end
`;

/**
 * Creates the log of a run, or appends to it, and publishes the records on the channel that is named like the stream: an array with one array for each record,
 * of its id and its fields. If they are large, only the id of the last one is published, so that Redis does not hold them for every process that reads slowly.
 *
 * KEYS: the stream.
 * ARGV: the id of the last record that the log must have, or empty; to create it, three random digits, otherwise empty; the time after which it expires, in
 * milliseconds, or empty if that does not change; for each record, the number of its fields and values, and these.
 * Returns the id of the last record. Nil if the condition is not met: nothing is changed then.
 */
export const RUN_APPEND = script(`${END}
local creates, expire = ARGV[2] ~= '', ARGV[3]
local met
if ARGV[1] == '' then met = creates == not first else met = first and id(offset) == ARGV[1] end
if not met then return false end

if creates then
  if first then redis.call('UNLINK', KEYS[1]) end
  -- Numbers of Lua are too small for an epoch.
  local time = redis.call('TIME')
  epoch, offset = time[1] .. string.format('%06d', time[2]) .. ARGV[2], 0
end

local records, size, at = {}, 0, 4
while at <= #ARGV do
  local fields = {}
  for i = at + 1, at + ARGV[at] do
    fields[#fields + 1] = ARGV[i]
    size = size + #ARGV[i]
  end
  offset = offset + 1
  redis.call('XADD', KEYS[1], id(offset), unpack(fields))
  table.insert(fields, 1, id(offset))
  records[#records + 1] = fields
  at = at + ARGV[at] + 1
end
if expire ~= '' then redis.call('PEXPIRE', KEYS[1], expire) end
redis.pcall('SPUBLISH', KEYS[1], cjson.encode(size > 65536 and id(offset) or records))
return id(offset)
`);

/**
 * Reads records of the log of a run.
 *
 * KEYS: the stream.
 * ARGV: the position to read after: its epoch, empty for any, and its offset. In another epoch, all records are read; the number of records to return; how many
 * characters to return about.
 * Returns the id of the last record of the log, empty if the log does not exist, and entries of the stream.
 */
export const RUN_READ = script(`${END}
if not first then return {'', {}} end
local from = 1
if ARGV[1] == '' or ARGV[1] == epoch then from = ARGV[2] + 1 end

local found, count, size, step = {}, tonumber(ARGV[3]), 0, 8
while from <= offset and #found < count and size < tonumber(ARGV[4]) do
  local entries = redis.call('XRANGE', KEYS[1], id(from), '+', 'COUNT', math.min(step, count - #found))
  for _, entry in ipairs(entries) do
    found[#found + 1] = entry
    for _, value in ipairs(entry[2]) do size = size + #value end
    if size >= tonumber(ARGV[4]) then break end
  end
  if #entries == 0 then break end
  from = from + #entries
  step = 64
end
return {id(offset), found}
`);

-- wrk script: POSTs PNG files in turn. Arguments: the folder of 1.png, 2.png, … and their number.
-- The result goes to standard output as one line of JSON behind "RESULT ".

local requests = {}
local turn = 0

function init(arguments)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "image/png"
   for number = 1, tonumber(arguments[2]) do
      local file = assert(io.open(arguments[1] .. "/" .. number .. ".png", "rb"))
      requests[number] = wrk.format(nil, nil, nil, file:read("*a"))
      file:close()
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"bad_status":%d,"socket_errors":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end

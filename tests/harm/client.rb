# SPDX-License-Identifier: MIT
# client.rb PORT: three requests, and what came back.
require "net/http"
require "openssl"
require "digest"

options = {use_ssl: true, verify_mode: OpenSSL::SSL::VERIFY_NONE}
Net::HTTP.start("127.0.0.1", ARGV[0].to_i, options) do |http|
  puts "/bytes/5000 " + Digest::SHA256.hexdigest(http.get("/bytes/5000").body)
  puts "/echo " + Digest::SHA256.hexdigest(http.post("/echo", "x" * 30000).body)
  puts "/bytes/100000 " + Digest::SHA256.hexdigest(http.get("/bytes/100000").body)
end

"""Publishing what an untrusted job found out, in a trusted one: the report is data, and nothing else is taken from it.

`received` reads a report within bounds and checks every field, `comment` and `sarif` write it anew with the escapes of
this program. A pull request can change the workflow that audits it, so a received report may be made up from its first
byte to its last: it can say something false, it cannot do anything.
"""

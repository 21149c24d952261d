#!/bin/sh
cat <<'END'
{
  "web": {"hosts": ["web1.example.com", "web2.example.com"], "vars": {"port": 80, "name": "web"}},
  "db": {"hosts": ["db1.example.com"], "children": ["replicas"]},
  "replicas": {"hosts": ["db2.example.com", "db3.example.com"]},
  "old": ["web1.example.com"],
  "_meta": {"hostvars": {
    "web1.example.com": {"ansible_host": "203.0.113.1", "tags": ["a"]},
    "db1.example.com": {"port": 5432, "name": "own"}
  }}
}
END

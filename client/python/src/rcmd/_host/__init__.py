"""Who and where a host is: names, files, certificates, trust."""

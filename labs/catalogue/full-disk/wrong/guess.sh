# caught-by: who
# answer who: till
# The one that complains is rarely the one that is at fault.
curl -s http://127.0.0.1:8080/

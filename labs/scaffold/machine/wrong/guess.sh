# caught-by: diagnose
# answer diagnose: The server does not run.
# The first line of a wrong fix names what catches it: a check, a guard, or a question, as here.
curl -s http://127.0.0.1:8080/ >/dev/null

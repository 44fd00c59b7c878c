# caught-by: diagnose
# answer diagnose: The pod does not run.
# The first line of a wrong fix names what catches it: a check, a guard, or a question, as here.
kubectl -n greet get pods

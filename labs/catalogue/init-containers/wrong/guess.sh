# caught-by: diagnose
# answer diagnose: The database has not started yet.
# It is the first thing that comes to mind, and a look at the pods tells otherwise.
kubectl -n shop get pods -l app=database

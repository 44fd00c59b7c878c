# caught-by: lock-kept
true # canary-wrong

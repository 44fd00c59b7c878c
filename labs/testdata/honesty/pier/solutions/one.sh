true # canary-solution-one

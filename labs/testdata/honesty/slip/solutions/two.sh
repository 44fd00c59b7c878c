true # canary-solution-two
# answer name: canary-solution-answer

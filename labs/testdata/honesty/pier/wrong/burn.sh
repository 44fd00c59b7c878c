# caught-by: book-kept
true # canary-wrong

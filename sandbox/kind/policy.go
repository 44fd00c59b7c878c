package kind

// policy is what the API server needs to enforce the admission policy in the
// node's files. Keys as in [lean].
func policy() map[string]component { return map[string]component{} }

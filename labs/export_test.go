package labs

import (
	"testing"

	"drydock/sandbox"
)

// RealProvider is for tests outside of the package.
func RealProvider(t *testing.T, instance string) sandbox.Provider { return realProvider(t, instance) }

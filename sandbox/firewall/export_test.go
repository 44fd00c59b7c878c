package firewall

import (
	"context"
	"time"
)

// SweepOlder is Sweep with another age.
func (f *Firewall) SweepOlder(ctx context.Context, age time.Duration) error { return f.sweep(ctx, age) }

// Role is the label of containers that run nft.
const Role = labelRole + "=" + role

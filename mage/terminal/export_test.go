package terminal

import "github.com/dagadbm/vps/mage/deploy"

// Knows says whether an outcome has a text.
func Knows(o deploy.Outcome) bool { return outcomes[o] != "" }

package secrets

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
)

// ivSize is the length in bytes of the initialisation vectors that sops makes.
const ivSize = 32

// encrypted is the one way in which sops writes a value. sops itself reads much
// more: text after the bracket, line ends within base64, any vector length (it
// panics on some), and the label "bytes", which panics as well.
var encrypted = regexp.MustCompile(
	`^ENC\[AES256_GCM,data:([A-Za-z0-9+/]+=*),iv:([A-Za-z0-9+/]+=*),tag:([A-Za-z0-9+/]+=*),type:(str|int|float|bool|time|comment)\]$`)

const encryptedPrefix = "ENC[AES256_GCM,"

// strictCipher is sops' cipher for text that somebody may have tampered with.
// One instance must serve both directions: it remembers the vectors, so that
// values that did not change keep their ciphertext.
type strictCipher struct {
	aes aes.Cipher
}

func newCipher() strictCipher { return strictCipher{aes.NewCipher()} }

// Decrypt implements [sops.Cipher]. Its errors name the place and never repeat
// the value, which may be plaintext that got into the file by mistake.
func (c strictCipher) Decrypt(ciphertext string, key []byte, place string) (any, error) {
	if ciphertext == "" {
		return "", nil // sops leaves empty values as they are
	}
	if err := checkEncrypted(ciphertext); err != nil {
		return nil, fmt.Errorf("%s: %w", placeName(place), err)
	}
	plain, err := c.aes.Decrypt(ciphertext, key, place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", placeName(place), errors.New("does not decrypt"))
	}
	return plain, nil
}

// Encrypt implements [sops.Cipher].
func (c strictCipher) Encrypt(plain any, key []byte, place string) (string, error) {
	if comment, ok := plain.(sops.Comment); ok {
		// Decrypting forgets that a comment was beside a value; the vector
		// is remembered under what decrypting returned.
		plain = sops.Comment{Value: comment.Value}
	}
	return c.aes.Encrypt(plain, key, place)
}

func checkEncrypted(text string) error {
	parts := encrypted.FindStringSubmatch(text)
	if parts == nil {
		if strings.HasPrefix(text, "ENC[") {
			return errors.New("is not what sops writes")
		}
		return errors.New("is in plain text and should be encrypted")
	}
	for i, part := range parts[1:4] {
		raw, err := base64.StdEncoding.Strict().DecodeString(part)
		if err != nil {
			return errors.New("is not clean base64")
		}
		if i == 1 && len(raw) != ivSize {
			return fmt.Errorf("has an initialisation vector of %d bytes, not %d", len(raw), ivSize)
		}
	}
	return nil
}

// placeName turns sops' "a:b:" into our a.b.
func placeName(place string) string {
	place = strings.TrimSuffix(place, ":")
	if place == "" {
		return "a comment or element at the top"
	}
	return fmt.Sprintf("%q", strings.ReplaceAll(place, ":", "."))
}

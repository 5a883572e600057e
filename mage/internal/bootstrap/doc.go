// Package bootstrap follows the installer.
package bootstrap

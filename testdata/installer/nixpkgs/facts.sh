# Asks the server what it is; its answers are KEY=VALUE lines.
# shellcheck shell=sh
yes_no() { if "$@" >/dev/null 2>&1; then echo y; else echo n; fi; }
is_installer() { grep -q '^ID="\{0,1\}nixos' /etc/os-release && grep -q '^VARIANT_ID="\{0,1\}installer' /etc/os-release; }
echo "isOs=$(uname)"
echo "isArch=$(uname -m)"
echo "isInstaller=$(yes_no is_installer)"
echo "isRoot=$(yes_no test "$(id -u)" = 0)"
echo "hasTar=$(yes_no command -v tar)"
echo "hasCpio=$(yes_no command -v cpio)"
echo "hasSudo=$(yes_no command -v sudo)"
echo "hasDoas=$(yes_no command -v doas)"
echo "hasSetsid=$(yes_no setsid --wait true)"

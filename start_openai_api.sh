#!/bin/sh
# Installs the server on the first start, then serves: ./start_openai_api.sh [--port 9000 ...]
# All arguments go to openai_api.py, but two that install and stop:
#   --install-only   also tries voice cloning again if that failed before
#   --dev            also installs what the tests need
set -eu
cd -- "$(CDPATH='' dirname -- "$0")"

for python in .venv/bin/python python3.13 python3.12 python3.11 python3.10 python3 ''; do
    if [ -z "$python" ]; then
        echo "This needs Python 3.10 to 3.13, and none was found. Install one (Debian or Ubuntu:" \
            "sudo apt install python3 python3-venv; macOS: brew install python@3.13), then start again." >&2
        exit 1
    fi
    check='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
    if "$python" -c "$check" 2>/dev/null; then
        break
    fi
done

"$python" install.py "$@"

for argument do
    case $argument in
        --install-only | --dev) exit 0 ;;
    esac
done
exec .venv/bin/python openai_api.py "$@"

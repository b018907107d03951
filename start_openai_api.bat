@echo off
rem Installs the server on the first start, then serves: start_openai_api.bat [--port 9000 ...]
rem All arguments go to openai_api.py, but two that install and stop:
rem   --install-only   also tries voice cloning again if that failed before
rem   --dev            also installs what the tests need
setlocal
cd /d "%~dp0"

set "PYTHON="
for %%p in ("py -3.13" "py -3.12" "py -3.11" "py -3.10" "python3" "python") do (
    if not defined PYTHON (
        %%~p -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))" >nul 2>&1 && set "PYTHON=%%~p"
    )
)
if not defined PYTHON (
    echo This needs Python 3.10 to 3.13, and none was found. Install one from python.org, then start again. >&2
    exit /b 1
)

%PYTHON% install.py %*
if not %errorlevel%==0 exit /b %errorlevel%

for %%a in (%*) do (
    if "%%~a"=="--install-only" exit /b 0
    if "%%~a"=="--dev" exit /b 0
)
".venv\Scripts\python.exe" openai_api.py %*
exit /b %errorlevel%

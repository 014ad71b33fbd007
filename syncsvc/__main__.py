"""
`python -m syncsvc` is `syncsvc`.
"""

from __future__ import annotations

from syncsvc.cli.app import main

if __name__ == "__main__":
    main()

"""`python -m collector.cli`"""

from . import main

main()

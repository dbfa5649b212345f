import sys

from svconv.cli import main

sys.exit(main())

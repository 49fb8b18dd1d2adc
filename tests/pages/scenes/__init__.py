"""What the pictures show: one module for each group of pages, with a `take(camera, folder)`."""
